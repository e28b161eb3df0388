"""What is written, and its way out: from a publication's posts to letters a relay has accepted.

One way through the house::

    month  = Month.parse("2015-09", zone)            select       a pure value, half-open
    posts  = posts_of(session, month)                             one query
    issue  = compose(session, month, posts)          compose      a draft an editor may change
    page   = render(issue, items)                    render       once per issue, with holes
             approve(session, issue, page, now)      approve      the bytes are frozen
             dispatch(…)                             dispatch     lease -> begin -> send -> settle

The code map, storey by storey, is in docs/architecture.md and is held by tests/test_house.py.
"""
