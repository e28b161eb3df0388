"""What is written, and its way out: from a publication's posts to letters a relay has accepted.

One way through the house::

    month = Month.parse("2015-09", zone)                 a pure value, half-open
    posts = posts_of(session, month)                     one query
    issue = compose(session, month, now, …).issue        a draft an editor may change
    page = page_of(session, issue, …)                    the values its templates see
    rendered, page = fitted(page, …)                     once per issue, with holes
    approve(session, issue, rendered, by, now)           the bytes are frozen
    freeze(session, issue.id, audience(), now)           and, when it falls due, who gets them
    dispatch(engine, issue.id, …)                        lease -> send -> mark -> the dot -> settle

The code map, storey by storey, is in docs/architecture.md and is held by tests/test_house.py.
"""
