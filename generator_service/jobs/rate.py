"""How many jobs a second an owner may submit, by the generic cell rate algorithm (ITU-T I.371).

Requests are counted before anybody reads them, in the script that looks up their key.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from shared.errors import TooFast

LUA_COUNT: Final = """
local function count(owner, rate, burst, now)  -- now: in milliseconds
  local name, each = 'rate:' .. owner, 1000 / rate
  local full = math.max(now, tonumber(redis.call('GET', name) or 0)) + each
  local left = math.floor((burst * each - (full - now)) / each + 1e-6)
  if left < 0 then return {left, math.ceil(full - now - burst * each)} end
  redis.call('SET', name, string.format('%.3f', full), 'PX', math.ceil(full - now))
  return {left, 0}
end
"""
"""What is left of the burst; below 0 the request is one too many, and makes sense again after so many milliseconds."""


@dataclass(frozen=True)
class Quota:
    """What an owner's rate still allows."""

    limit: int
    seconds: int
    """In which a quota that was used up is whole again."""
    left: int


@dataclass(frozen=True)
class Rate:
    per_second: float
    """Jobs that an owner may submit in the long run."""
    burst: int
    """And so many at once."""

    def quota(self, owner: str, counted: Sequence[int]) -> Quota:
        """counted: by `LUA_COUNT`.  Raises TooFast, which says after how many seconds another try makes sense."""
        left, wait = counted
        if left < 0:
            reason = f"'{owner}' may submit {self.per_second:g} jobs a second, and {self.burst} at once"
            raise TooFast(reason, retry_after=math.ceil(wait / 1000))
        return Quota(self.burst, math.ceil(self.burst / self.per_second), left)
