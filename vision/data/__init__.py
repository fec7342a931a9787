"""Images and what is known of them: one form inside, many formats outside."""
