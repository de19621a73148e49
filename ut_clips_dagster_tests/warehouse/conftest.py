from ut_clips_dagster_tests.warehouse.fixtures import bigquery_environment, bigquery_url, client, dataset_name

__all__ = ["bigquery_environment", "bigquery_url", "client", "dataset_name"]
