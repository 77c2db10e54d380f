"""The session a user works with: prompts, previews, memory policies, propagation, corrections and confidence.

Nothing is imported here, so that `propagation.prompts` can be read without torch.
"""
