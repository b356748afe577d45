"""Collecting: series read from warehouses, bucket by bucket, and kept in the metadata store."""
