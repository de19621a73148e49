"""Names that both sides of the API use.

This folder is no package: pytest would take it for the library `kubernetes`.
"""

NAMESPACE = "ut-clips"
