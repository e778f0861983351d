"""The server side of delivery: an ingest that commits first and acknowledges after."""
