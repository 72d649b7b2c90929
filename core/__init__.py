"""The ground every stage stands on: config, manifests, schemas, languages, detector, errors, Spark session.

Imports nothing of ours, no torch and no megatron, so that any stage can be installed on its own.
"""
