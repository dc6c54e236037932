"""Files of events: CSV, Parquet and JSON lines, read into the contract's fields."""
