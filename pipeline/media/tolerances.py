"""How far a written file may differ from what was sent to it, with the reason for each limit."""

from __future__ import annotations

from fractions import Fraction

# ---- the master ----------------------------------------------------------------------------------

# Matroska's clock of 1 ms: half a tick for the sound, half a tick for the picture, and one tick for
# the codec's own delay.
MASTER_SYNC_SECONDS = 0.002
# Matroska holds a rate as whole nanoseconds, and an aspect as two 16-bit numbers.
MASTER_RATIO_TOLERANCE = 1e-6
# The same rounding, compared with a standard frame rate.
RATE_TOLERANCE = 1e-5

# ---- derived files -------------------------------------------------------------------------------

# A regular clip's timestamps are rounded to 1 ms in the master and exact in the derived file.
DERIVED_LATE_MS = Fraction(3, 2)
# A frame of AAC may begin a little earlier than the sound.
DERIVED_SYNC_SECONDS = 0.025
DERIVED_RATIO_TOLERANCE = 1e-4  # sample aspect
