"""The main job as a story: invented people, real commands, and a check of every claim."""
