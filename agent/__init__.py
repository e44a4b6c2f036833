"""The refinement loop: policy, prompts, sandbox, selection."""
