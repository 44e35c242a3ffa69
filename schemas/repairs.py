"""The decisions about a region that the model would repair, and the codes of their reasons.

A reason code is a column of tables/regions. People read its sentence.
"""

DECISIONS: dict[str, str] = {
    "repair": "The region was repaired.",
    "suspect": "The region keeps the source: it may be a real thing.",
}
WHY: dict[str, str] = {
    "one_frame": "Nothing like it lies on a path through the frames before and after.",
    "upright": "An upright line, in the frames before and after too: a scratch, or a real thing.",
    "unlike_dust": "Its surroundings or a small displacement explain it: it may be in motion.",
    "lone": "Few clear defects are near, and it is doubtful or large: it may be real.",
    "edge": "It lies along the frame's edge, where the picture may have shifted in the gate.",
    "swarm": "Many regions in these frames are on paths: it may be one more thing in motion.",
    "path": "Regions like it lie on a straight path before and after: it may be a thing in motion.",
}
