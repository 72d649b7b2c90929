"""The Hugging Face tokenizer class, copied into every tokenizer directory and export. Imports nothing of ours."""
