"""Who is asking: security keys, JSON Web Tokens, and what they allow."""
