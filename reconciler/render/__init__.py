"""What people and machines read: values in, text or plain JSON values out. Nothing here does I/O or knows a
command-line flag.

- `formats`: a Plan, and all else that is known of it (`report`), in the format that is asked for.
- `text`, `json`, `markdown`: a Plan. `github`, `sarif`: what of it a reviewer has to see.
- `tree`, `ports`, `status`: a State.
- `places`, `changes`, `outline`: what they share; a plan folded into the lines a person reads, whatever they
  are printed as.
- `words`, `requests`, `terminal`: human nouns, requests spelled out, and the last step to characters, where
  everything is escaped.
"""
