"""The archive's tables in BigQuery: rows published session by session, and the view `clips` over them."""
