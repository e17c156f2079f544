"""Any OpenAI-compatible endpoint: prompts in, validated replies out, each paid once, within a budget."""
