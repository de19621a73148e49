"""A Kubernetes without a cluster: kmock's API, controllers of ours, and kubelets that start pods as processes."""

NAMESPACE = "ut-clips"
