"""The summariser as an HTTP service: a bounded queue, batches across requests, one model worker."""
