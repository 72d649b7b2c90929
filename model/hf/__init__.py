"""The Hugging Face twin of GLM. Its two files import nothing of ours: exports carry copies of them."""
