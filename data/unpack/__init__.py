"""Images out of Parquet files, tar shards and videos, with a manifest beside them."""
