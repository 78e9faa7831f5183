"""A world of card payments and fraud, made from nothing: the same on every machine.

Everything is whole numbers drawn from a hash, so that no generator, libm or NumPy version changes a bit.
Times are seconds since the world began; it ends `DAYS` later, at the midnight that the loader chooses.

Fraud depends on what was true at the moment of the transaction: failed logins and a new device of the user,
declines, the merchant's chargebacks. What fraud causes afterwards (a chargeback, days later, entered under
the old event time) is in the tables too, with the time at which it became known: a join that looks past
that time gets answers that nobody had.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Whole = NDArray[np.int64]
Truth = NDArray[np.bool_]

DAY = 86_400
DAYS = 548
END = DAYS * DAY
USERS, MERCHANTS, TRANSACTIONS = 1_000, 500, 50_000
FRAUDS = 600

# code, name, usual amount in cents, share of spending, restricted, risk
CATEGORIES = (
    ("0742", "veterinary", 8_500, 3, 0, 0),
    ("4111", "transit", 350, 14, 0, 0),
    ("4814", "telecom", 4_200, 5, 0, 1),
    ("5311", "department store", 6_100, 8, 0, 1),
    ("5411", "groceries", 5_200, 20, 0, 0),
    ("5541", "fuel", 5_600, 10, 0, 0),
    ("5732", "electronics", 24_000, 5, 0, 4),
    ("5812", "restaurants", 3_900, 14, 0, 0),
    ("5912", "pharmacy", 2_300, 7, 0, 0),
    ("5944", "jewelry", 31_000, 2, 0, 5),
    ("5967", "direct marketing", 4_900, 3, 1, 5),
    ("6051", "quasi cash", 18_000, 2, 1, 6),
    ("7011", "hotels", 21_000, 4, 0, 2),
    ("7995", "betting", 7_500, 3, 1, 4),
)
CHANNELS = ("app", "atm", "pos", "web")
REGIONS = ("central", "east", "north", "south", "west")
OCCUPATIONS = ("clerical", "engineering", "health", "retail", "self-employed", "student", "teaching")
TIERS = ("high", "low", "medium")
COUNTRIES = ("DE", "FR", "GB", "JP", "KR", "SG", "US")
# transactions by the hour of the day, in 200ths
HOURS = (2, 1, 1, 1, 1, 2, 4, 8, 10, 10, 11, 13, 16, 13, 10, 10, 12, 14, 16, 15, 12, 9, 6, 3)
# amounts, in percent of what is usual
SPREAD = (22, 35, 45, 55, 64, 73, 82, 91, 100, 110, 122, 137, 155, 180, 230, 420)


@dataclass(frozen=True)
class Column:
    """One column: whole numbers, and how they read.

    `kind` is PostgreSQL's type; `decimals` places of a number belong behind its point; of a text the number
    is the place in `words`; nulls are where `valid` is false.
    """

    name: str
    kind: str
    values: Whole
    valid: Truth | None = None
    decimals: int = 0
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """One table of the database."""

    name: str
    columns: tuple[Column, ...]

    def __len__(self) -> int:
        return len(self.columns[0].values)

    def __getitem__(self, name: str) -> Whole:
        return next(column.values for column in self.columns if column.name == name)

    def rows(self, which: Whole | Truth) -> Table:
        """Return some of the rows."""
        return replace(
            self,
            columns=tuple(
                replace(c, values=c.values[which], valid=None if c.valid is None else c.valid[which])
                for c in self.columns
            ),
        )


def generate() -> tuple[Table, ...]:
    """Return the tables of the world: transactions, and the four of features."""
    merchants = _merchants()
    spending = _transactions(merchants)
    users = _user_states(spending)
    people = _demographics()
    shops = _merchant_features(spending, merchants)
    groups = _category_features(spending)
    fraud = _frauds(spending, users, people, shops, groups)
    users = _with_chargebacks(users, spending, fraud)
    groups = _with_fraud_counts(groups, spending, fraud)
    spending = replace(
        spending, columns=(*spending.columns, Column("is_fraud", "boolean", fraud.astype(np.int64)))
    )
    return (_in_order(spending, "transactions"), *(_known(table) for table in (users, people, shops, groups)))


def digest(tables: tuple[Table, ...]) -> str:
    """Return the SHA-256 of everything in the tables."""
    content = hashlib.sha256()
    for table in tables:
        content.update(f"{table.name} {len(table)}\n".encode())
        for column in table.columns:
            valid = np.ones(len(table), bool) if column.valid is None else column.valid
            content.update(f"{column.name} {column.kind} {column.decimals} {column.words}\n".encode())
            content.update(np.where(valid, column.values, 0).astype("<i8").tobytes())
            content.update(valid.tobytes())
    return content.hexdigest()


def _draw(what: str, bound: int, *of: Whole) -> Whole:
    """Draw whole numbers below a bound: always the same for the same word and numbers."""
    state = np.full(
        of[0].shape, int.from_bytes(hashlib.sha256(what.encode()).digest()[:8], "little"), np.uint64
    )
    for numbers in of:
        state = _mixed(state + numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    return ((state >> np.uint64(20)) % np.uint64(bound)).astype(np.int64)


def _mixed(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    # The finalizer of splitmix64.
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def _weighted(what: str, weights: Whole, *of: Whole) -> Whole:
    """Draw places of a list, each as often as its weight says."""
    until = np.cumsum(weights)
    return np.searchsorted(until, _draw(what, int(until[-1]), *of), side="right").astype(np.int64)


def _share(part: Whole, whole: Whole, decimals: int) -> Whole:
    """Divide, rounded half up to a number of decimals; 0 where there is nothing to divide by."""
    divisor = np.maximum(whole, 1)
    share: Whole = (part * 10**decimals * 2 + divisor) // (2 * divisor)
    return share


def _bell(what: str, *of: Whole) -> Whole:
    """Draw from -400 to 400, mostly near 0: standard deviation about 115."""
    parts = [_draw(f"{what} {turn}", 201, *of) for turn in range(4)]
    bell: Whole = np.sum(parts, axis=0) - 400
    return bell


def _span(n: int) -> Whole:
    return np.arange(n, dtype=np.int64)


def _grid(keys: int, times: int) -> tuple[Whole, Whole]:
    """Return each key with each turn, key by key."""
    return np.repeat(_span(keys), times), np.tile(_span(times), keys)


@dataclass(frozen=True)
class _Merchants:
    category: Whole
    is_online: Whole


def _merchants() -> _Merchants:
    who = _span(MERCHANTS)
    shares = np.array([share for *_, share, _, _ in CATEGORIES], np.int64)
    # Every category has merchants; beyond that, as many as it has customers.
    category = np.where(who < len(CATEGORIES), who % len(CATEGORIES), _weighted("category", shares, who))
    return _Merchants(category, (_draw("online", 100, who) < 35).astype(np.int64))


def _transactions(merchants: _Merchants) -> Table:
    which = _span(TRANSACTIONS)
    hour = _weighted("hour", np.array(HOURS, np.int64), which)
    moment = _draw("day", DAYS, which) * DAY + hour * 3_600 + _draw("second", 3_600, which)
    moment = np.sort(moment)
    user = _weighted("user", 1 + _draw("activity", 12, _span(USERS)), which)
    merchant = _weighted("merchant", 1 + _draw("popularity", 25, _span(MERCHANTS)), which)
    category = merchants.category[merchant]
    usual = np.array([amount for _, _, amount, *_ in CATEGORIES], np.int64)[category]
    size = 60 + _draw("purse", 120, user)
    spread = np.array(SPREAD, np.int64)[_draw("spread", len(SPREAD), which)]
    amount = usual * size * spread // 10_000 + 1 + _draw("cents", 100, which)
    online = merchants.is_online[merchant] == 1
    channel = np.where(online, 3 * _draw("by web", 2, which), 2 - (_draw("by atm", 20, which) == 0))
    device = _draw("device", 900, which)
    return Table(
        "public.transactions",
        (
            Column("transaction_id", "bigint", which + 1),
            Column("user_id", "bigint", user + 1),
            Column("merchant_id", "bigint", merchant + 1),
            Column("category_id", "text", category, words=tuple(code for code, *_ in CATEGORIES)),
            Column("amount", "numeric(12,2)", amount, decimals=2),
            Column("channel", "text", channel, words=CHANNELS),
            Column("card_last_four", "text", _draw("card", 10_000, user), words=_numbered(10_000, 4)),
            Column("device_age_days", "integer", device, valid=_draw("device known", 20, which) > 0),
            Column("is_foreign", "boolean", (_draw("foreign", 100, which) < 7).astype(np.int64)),
            Column("event_timestamp", "timestamptz", moment),
            Column("created_timestamp", "timestamptz", moment + 1 + _draw("delay", 9, which)),
        ),
    )


def _numbered(n: int, width: int) -> tuple[str, ...]:
    return tuple(f"{number:0{width}}" for number in range(n))


@dataclass(frozen=True)
class _History:
    """Transactions in order of a key and time, to be counted in windows."""

    order: Whole
    marks: Whole

    @classmethod
    def of(cls, keys: Whole, moments: Whole) -> _History:
        order = np.lexsort((moments, keys)).astype(np.int64)
        return cls(order, (keys * 2 * END + moments)[order])

    def window(self, keys: Whole, moments: Whole, days: int) -> tuple[Whole, Whole]:
        """Return first and beyond-last place of what happened in the days up to each moment."""
        here = keys * 2 * END
        first = np.searchsorted(self.marks, here + np.maximum(moments - days * DAY, -1), side="right")
        return first.astype(np.int64), np.searchsorted(self.marks, here + moments, side="right").astype(
            np.int64
        )

    def total(self, values: Whole, window: tuple[Whole, Whole]) -> Whole:
        until = np.concatenate(([0], np.cumsum(values[self.order])))
        return until[window[1]] - until[window[0]]

    def largest(self, values: Whole, window: tuple[Whole, Whole]) -> Whole:
        first, last = window
        best = np.zeros(len(first), np.int64)
        ordered = np.append(values[self.order], 0)
        for step in range(int((last - first).max())):
            there = first + step
            best = np.where(there < last, np.maximum(best, ordered[np.minimum(there, len(self.order))]), best)
        return best

    def distinct(self, values: Whole, window: tuple[Whole, Whole]) -> Whole:
        """Count different values: those whose last turn before was before the window."""
        first, last = window
        ordered = values[self.order]
        keys = self.marks // (2 * END)
        by_value = np.lexsort((_span(len(ordered)), ordered, keys))
        before = np.full(len(ordered) + 1, -1, np.int64)
        same = (ordered[by_value][1:] == ordered[by_value][:-1]) & (keys[by_value][1:] == keys[by_value][:-1])
        before[by_value[1:][same]] = by_value[:-1][same]
        count = np.zeros(len(first), np.int64)
        for step in range(int((last - first).max())):
            there = first + step
            count += (there < last) & (before[np.minimum(there, len(ordered))] < first)
        return count


def _known_at(what: str, moments: Whole, *of: Whole) -> Whole:
    """Return when rows became known: minutes later, and of every sixteenth only days later."""
    late = _draw(f"{what} is late", 16, *of) == 0
    minutes = 30 + _draw(f"{what} delay", 870, *of)
    return moments + np.where(late, DAY + _draw(f"{what} lateness", 8 * DAY, *of), minutes)


def _user_states(spending: Table) -> Table:
    """Return what is known of users every ten days, but for users who were away."""
    turns = DAYS // 10 + 1
    user, turn = _grid(USERS, turns)
    moment = turn * 10 * DAY + _draw("offset", 9 * DAY, user) + _draw("jitter", DAY, user, turn)
    away_from = 5 + _draw("away", turns - 20, user)
    away = (_draw("is away", 16, user) == 0) & (turn >= away_from) & (turn < away_from + 13)
    newcomer = (_draw("newcomer", 40, user) == 0) & (turn < 8)
    here = (moment < END) & ~away & ~newcomer
    user, turn, moment = user[here], turn[here], moment[here]

    alarm = np.zeros(len(user), np.int64)
    for back in range(2):  # an attack lasts for two turns or fewer
        begun = _draw("attack", 100, user, turn - back) < 4
        alarm = np.maximum(alarm, np.where(begun, 3 + _draw("force", 6, user, turn - back), 0))
    logins = np.where(
        alarm > 0, alarm - 1 + _draw("tries", 3, user, turn), np.maximum(_draw("typos", 8, user, turn) - 5, 0)
    )
    declined = np.where(
        alarm > 0,
        alarm // 2 + _draw("declines", 3, user, turn),
        np.maximum(_draw("no cover", 10, user, turn) - 7, 0),
    )
    device = np.where(
        alarm > 0, _draw("intruder", 4, user, turn) > 0, _draw("new device", 16, user, turn) == 0
    )

    history = _History.of(spending["user_id"] - 1, spending["event_timestamp"])
    week, month = history.window(user, moment, 7), history.window(user, moment, 30)
    count = month[1] - month[0]
    amount, clock = spending["amount"], spending["event_timestamp"] % DAY // 3_600
    total = history.total(amount, month)
    night = history.total((clock < 6).astype(np.int64), month)
    last = history.order[np.maximum(month[1] - 1, 0)]
    any_at_all = month[1] > history.window(user, moment, DAYS + 1)[0]
    some = count > 0
    return Table(
        "features.user_transaction_features",
        (
            Column("user_id", "bigint", user + 1),
            Column("transaction_count_7d", "bigint", week[1] - week[0]),
            Column("transaction_count_30d", "bigint", count),
            Column("amount_sum_30d", "double precision", total, decimals=2),
            Column("amount_mean_30d", "double precision", _share(total, count, 0), some, 2),
            Column("amount_max_30d", "double precision", history.largest(amount, month), some, 2),
            Column("amount_last", "double precision", amount[last], any_at_all, 2),
            Column("distinct_merchants_30d", "bigint", history.distinct(spending["merchant_id"], month)),
            Column("night_share_30d", "double precision", _share(night, count, 4), some, 4),
            Column(
                "foreign_share_30d",
                "double precision",
                _share(history.total(spending["is_foreign"], month), count, 4),
                some,
                4,
            ),
            Column("declined_count_7d", "integer", declined),
            Column("failed_logins_7d", "integer", logins),
            Column("chargebacks_90d", "bigint", np.zeros(len(user), np.int64)),
            Column(
                "has_new_device", "boolean", device.astype(np.int64), _draw("device seen", 25, user, turn) > 0
            ),
            Column("last_channel", "text", spending["channel"][last], any_at_all, words=CHANNELS),
            Column("last_transaction_at", "timestamptz", spending["event_timestamp"][last], any_at_all),
            Column("event_timestamp", "timestamptz", moment),
            Column("created_timestamp", "timestamptz", _known_at("user", moment, user, turn)),
        ),
    )


def _demographics() -> Table:
    """Return what users said of themselves: before the world began, and a few changes since."""
    user, turn = _grid(USERS, 5)
    changed = _draw("change", END, user, turn)
    moment = np.where(turn == 0, -1 - _draw("joined", 120 * DAY, user), changed)
    here = (turn == 0) | (turn <= _draw("changes", 5, user))
    user, turn, moment = user[here], turn[here], moment[here]
    age = 18 + _draw("age", 60, user) + (moment > 270 * DAY)
    income = (18 + _draw("income", 70, user) + 4 * turn) * 100_000 + _draw("odd income", 100_000, user, turn)
    score = np.clip(690 + _bell("credit", user) // 2 + _bell("credit moves", user, turn) // 3, 300, 850)
    return Table(
        "features.user_demographics",
        (
            Column("user_id", "bigint", user + 1),
            Column("age", "integer", age),
            Column("annual_income", "double precision", income, _draw("income known", 12, user) > 0, 2),
            Column("credit_score", "bigint", score, _draw("has score", 20, user, turn) > 0),
            Column("region", "text", _draw("region", len(REGIONS), user, turn // 3), words=REGIONS),
            Column(
                "postal_code", "text", _draw("postal", 99_999, user, turn // 3), words=_numbered(99_999, 5)
            ),
            Column(
                "occupation",
                "text",
                _draw("work", len(OCCUPATIONS), user, turn // 2),
                _draw("works", 9, user) > 0,
                words=OCCUPATIONS,
            ),
            Column("is_premium", "boolean", (_draw("premium", 10, user) + turn > 9).astype(np.int64)),
            Column(
                "has_verified_phone",
                "boolean",
                (_draw("verified", 10, user) + turn > 3).astype(np.int64),
                _draw("phone", 15, user) > 0,
            ),
            Column("account_opened_at", "timestamptz", -121 * DAY - _draw("opened", 3_000 * DAY, user)),
            Column("event_timestamp", "timestamptz", moment),
            Column("created_timestamp", "timestamptz", _known_at("person", moment, user, turn)),
        ),
    )


def _merchant_features(spending: Table, merchants: _Merchants) -> Table:
    turns = DAYS // 10 + 1
    merchant, turn = _grid(MERCHANTS, turns)
    moment = turn * 10 * DAY + _draw("audit", 9 * DAY, merchant) + _draw("audit jitter", DAY, merchant, turn)
    here = moment < END
    merchant, turn, moment = merchant[here], turn[here], moment[here]
    risk = np.array([risk for *_, risk in CATEGORIES], np.int64)[merchants.category[merchant]]
    # A breach at a merchant shows for about two months.
    breach = np.max([_draw("breach", 60, merchant, turn // 2 - back) == 0 for back in range(3)], axis=0)
    chargebacks = (
        risk * 2
        + _draw("disputes", 8, merchant, turn)
        + np.where(breach, 40 + _draw("breached", 40, merchant, turn // 2), 0)
    )
    history = _History.of(spending["merchant_id"] - 1, spending["event_timestamp"])
    month = history.window(merchant, moment, 30)
    count = month[1] - month[0]
    mean = _share(history.total(spending["amount"], month), count, 0)
    return Table(
        "features.merchant_features",
        (
            Column("merchant_id", "bigint", merchant + 1),
            Column("merchant_transaction_count_30d", "bigint", count),
            Column("merchant_distinct_users_30d", "bigint", history.distinct(spending["user_id"], month)),
            Column("merchant_amount_mean_30d", "double precision", mean, count > 0, 2),
            Column("merchant_chargeback_rate_90d", "double precision", chargebacks, decimals=3),
            Column(
                "merchant_refund_rate_30d",
                "double precision",
                _draw("refunds", 90, merchant, turn),
                decimals=3,
            ),
            Column(
                "merchant_rating",
                "real",
                20 + _draw("rating", 31, merchant, turn // 6),
                _draw("rated", 14, merchant) > 0,
                1,
            ),
            Column(
                "merchant_risk_tier", "text", np.where(risk > 3, 0, np.where(risk > 0, 2, 1)), words=TIERS
            ),
            Column("merchant_country", "text", _draw("country", len(COUNTRIES), merchant), words=COUNTRIES),
            Column("merchant_is_online", "boolean", merchants.is_online[merchant]),
            Column("merchant_age_days", "integer", 30 + _draw("founded", 4_000, merchant) + moment // DAY),
            Column("event_timestamp", "timestamptz", moment),
            Column("created_timestamp", "timestamptz", _known_at("merchant", moment, merchant, turn)),
        ),
    )


def _category_features(spending: Table) -> Table:
    category, turn = _grid(len(CATEGORIES), DAYS)
    moment = turn * DAY
    history = _History.of(spending["category_id"], spending["event_timestamp"])
    week = history.window(category, moment, 7)
    count = week[1] - week[0]
    mean = _share(history.total(spending["amount"], week), count, 0)
    restricted, risk = np.array([row[-2:] for row in CATEGORIES], np.int64)[category].T
    wave = _draw("wave", 12, category, turn // 30) == 0
    declines = 8 + 6 * risk + _draw("category declines", 12, category, turn) + np.where(wave, 60, 0)
    return Table(
        "features.category_features",
        (
            Column("category_id", "text", category, words=tuple(code for code, *_ in CATEGORIES)),
            Column("category_transaction_count_7d", "bigint", count),
            Column("category_amount_mean_7d", "double precision", mean, count > 0, 2),
            Column("category_decline_rate_7d", "double precision", declines, decimals=3),
            Column("category_fraud_count_90d", "bigint", np.zeros(len(category), np.int64)),
            Column("category_is_restricted", "boolean", restricted),
            Column("category_review_level", "integer", risk + (turn > 300), risk > 0),
            Column("category_name", "text", category, words=tuple(name for _, name, *_ in CATEGORIES)),
            Column("event_timestamp", "timestamptz", moment),
            Column("created_timestamp", "timestamptz", _known_at("category", moment, category, turn)),
        ),
    )


def _as_of(table: Table, keys: Whole, moments: Whole) -> Whole:
    """Return the row that was true at each moment, -1 where none was."""
    own = table.columns[0].values
    marks = own * 4 * END + table["event_timestamp"] + END
    order = np.argsort(marks, kind="stable")
    place = np.searchsorted(marks[order], keys * 4 * END + moments + END, side="right") - 1
    found = order[np.maximum(place, 0)]
    return np.where((place >= 0) & (own[found] == keys), found, -1).astype(np.int64)


def _frauds(spending: Table, users: Table, people: Table, shops: Table, groups: Table) -> Truth:
    """Choose the transactions that are fraud: the most likely ones, after chance had its say."""
    moment = spending["event_timestamp"]
    who, which = spending["user_id"], spending["transaction_id"]

    def was(table: Table, name: str, key: str) -> Whole:
        rows = _as_of(table, spending[key], moment)
        return np.where(rows < 0, 0, table[name][rows])

    mean = was(users, "amount_mean_30d", "user_id")
    likely = (
        30 * np.minimum(was(users, "failed_logins_7d", "user_id"), 7)
        + 70 * was(users, "has_new_device", "user_id")
        + 20 * np.minimum(was(users, "declined_count_7d", "user_id"), 5)
        + 3 * was(shops, "merchant_chargeback_rate_90d", "merchant_id")
        + was(groups, "category_decline_rate_7d", "category_id")
        + np.clip(700 - was(people, "credit_score", "user_id"), 0, 200) // 4
        + 70 * ((mean > 0) & (spending["amount"] > 3 * mean))
        + 90 * (moment % DAY < 6 * 3_600)
        + 60 * (spending["channel"] % 3 == 0)
        + 100 * spending["is_foreign"]
        + _bell("chance", which, who)
        + _bell("more chance", which, who)
    )
    order = np.lexsort((which, -likely))
    fraud = np.zeros(len(which), bool)
    fraud[order[:FRAUDS]] = True
    return fraud


def _reported(spending: Table, fraud: Truth) -> tuple[Whole, Whole]:
    """Return the frauds, and when each was reported: 3 to 15 days after."""
    which = np.flatnonzero(fraud)
    return which, spending["event_timestamp"][which] + 3 * DAY + _draw("report", 12 * DAY, which)


def _with_chargebacks(users: Table, spending: Table, fraud: Truth) -> Table:
    """Enter chargebacks: in later rows, and as corrections of the row that was true when it happened."""
    which, reported = _reported(spending, fraud)
    owner = spending["user_id"][which]
    history = _History.of(owner, reported)
    window = history.window(users["user_id"], users["event_timestamp"], 90)
    users = _replaced(users, "chargebacks_90d", window[1] - window[0])
    row = _as_of(users, owner, spending["event_timestamp"][which])
    which, reported, row = which[row >= 0], reported[row >= 0], row[row >= 0]
    order = np.lexsort((reported, row))
    which, reported, row = which[order], reported[order], row[order]
    nth = _span(len(row)) - np.searchsorted(row, row, side="left")
    corrections = users.rows(row)
    known = np.maximum(reported, users["created_timestamp"][row] + 60) + nth
    corrections = _replaced(corrections, "chargebacks_90d", corrections["chargebacks_90d"] + nth + 1)
    corrections = _replaced(corrections, "created_timestamp", known)
    # Some rows are corrected for other reasons: same event, a later word on it.
    typo = np.flatnonzero(_draw("typo", 70, _span(len(users))) == 0)
    typo = np.setdiff1d(typo, row)
    again = users.rows(typo)
    again = _replaced(again, "failed_logins_7d", again["failed_logins_7d"] + 1)
    again = _replaced(
        again, "created_timestamp", again["created_timestamp"] + DAY + _draw("retyped", 4 * DAY, typo)
    )
    return _stacked(users, corrections, again)


def _with_fraud_counts(groups: Table, spending: Table, fraud: Truth) -> Table:
    which, reported = _reported(spending, fraud)
    history = _History.of(spending["category_id"][which], reported)
    window = history.window(groups["category_id"], groups["event_timestamp"], 90)
    return _replaced(groups, "category_fraud_count_90d", window[1] - window[0])


def _replaced(table: Table, name: str, values: Whole) -> Table:
    columns = (replace(c, values=values) if c.name == name else c for c in table.columns)
    return replace(table, columns=tuple(columns))


def _stacked(*tables: Table) -> Table:
    columns = []
    for parts in zip(*(table.columns for table in tables), strict=True):
        valid = (
            None
            if parts[0].valid is None
            else np.concatenate([p.valid for p in parts if p.valid is not None])
        )
        columns.append(replace(parts[0], values=np.concatenate([p.values for p in parts]), valid=valid))
    return replace(tables[0], columns=tuple(columns))


def _known(table: Table) -> Table:
    """Return the rows that are known when the world ends, in the order in which they became known."""
    return _in_order(table.rows(table["created_timestamp"] < END), table.columns[0].name)


def _in_order(table: Table, key: str) -> Table:
    if key == "transactions":
        return table
    return table.rows(np.lexsort((table[key], table["event_timestamp"], table["created_timestamp"])))
