"""The columns that name the clip and the run of a row, in every table."""

from schemas.columns import text
from schemas.manifest import CLIP_ID

RUN_ID = r"\d{8}T\d{6}-[0-9a-f]{6}"

clip_id = text("Name of the clip, as in the manifest.", required=True, pattern=CLIP_ID)
run = text("Id of the run: its start in UTC and a random part.", required=True, pattern=RUN_ID)
