"""The decisions about a region that the model would repair, and the codes of their reasons.

A reason code is a column of tables/regions. People read its sentence.
"""

DECISIONS: dict[str, str] = {
    "repair": "The region was repaired.",
    "suspect": "The region keeps the source: it may be a real thing.",
}
WHY: dict[str, str] = {
    "one_frame": "Nothing like it lies on a path through the frames before and after.",
    "upright": "It is narrow and upright, as a scratch is.",
    "shot_edge": "The shot begins or ends here, so the frame has a neighbour on one side only.",
    "unlike_dust": "Its surroundings or a small displacement explain it: it may be in motion.",
    "edge": "It lies along the frame's edge, where the picture may have shifted in the gate.",
    "swarm": "Many regions in these frames are on paths: it may be one more thing in motion.",
    "path": "Regions like it lie on a straight path before and after: it may be a thing in motion.",
}
