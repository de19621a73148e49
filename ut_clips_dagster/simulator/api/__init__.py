"""What the Results API answers: routes, tokens, signed links, the request budget."""
