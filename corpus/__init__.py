"""Raw crawl → documents/1: read, normalise, detect the language, drop exact duplicates, hold out, count.

In: JSON Lines files, plain or compressed. Out: Parquet by language, rejected records with their reasons, a manifest in
which every record is accounted for. Knows nothing of how languages are balanced or text is tokenised.
"""
