"""What people and machines read: values in, text or plain JSON values out. Nothing here does I/O or knows a
command-line flag.

- `text`, `json`: a Plan.
- `tree`, `ports`, `status`: a State.
- `places`, `changes`, `outline`: what they share; a plan folded into the lines a person reads, whatever they
  are printed as.
- `words`, `requests`, `terminal`: human nouns, requests spelled out, and the last step to characters, where
  everything is escaped.
"""
