"""Settings to a running gateway: every object is made here, once."""

import asyncio
import random
import ssl
from pathlib import Path

from fittengate import __version__
from fittengate.lib.timers import Timers
from fittengate.server.app import App, with_cors
from fittengate.server.exchange import Exchanges, Limits, Services
from fittengate.server.pages import Pages
from fittengate.server.probes import Probes
from fittengate.services.clock import SystemClock
from fittengate.services.ids import Ids
from fittengate.services.keys import Keys
from fittengate.services.log import Log
from fittengate.services.models import ModelNames
from fittengate.services.queue import Turns
from fittengate.services.vault import FileVault
from fittengate.settings import Settings, Upstream
from fittengate.upstream.base import TokenVault
from fittengate.upstream.fitten.account import AccountKeeper
from fittengate.upstream.fitten.client import FittenClient, Route
from fittengate.upstream.fitten.service import FittenService, Rules
from fittengate.upstream.fitten.session import Account
from fittengate.upstream.fitten.watch import Deadlines
from fittengate.upstream.pictures import Pictures
