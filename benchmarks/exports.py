"""A large site's WordPress export, of any size: `python benchmarks/exports.py FILE MEGABYTES`."""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

_HEAD = """<?xml version="1.0" encoding="UTF-8" ?>
<!-- generator="WordPress/6.7" -->
<rss version="2.0" xmlns:excerpt="http://wordpress.org/export/1.2/excerpt/"
 xmlns:content="http://purl.org/rss/1.0/modules/content/" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:wp="http://wordpress.org/export/1.2/">
<channel><title>A large site</title><link>https://large.example</link><language>en</language>
<wp:wxr_version>1.2</wp:wxr_version>
<wp:author><wp:author_login>editor</wp:author_login>
<wp:author_display_name><![CDATA[The Editor]]></wp:author_display_name></wp:author>
"""
_PARAGRAPH = (
    "<p>The lamp at the harbour was lit at dusk, and the boats came in one by one, as they always had.</p>\n"
)
_POST = """<item><title><![CDATA[Post {n}]]></title><link>https://large.example/{day:%Y/%m}/post-{n}/</link>
<pubDate>{day:%a, %d %b %Y %H:%M:%S} +0000</pubDate><dc:creator><![CDATA[editor]]></dc:creator>
<guid isPermaLink="false">https://large.example/?p={n}</guid><description></description>
<content:encoded><![CDATA[{body}]]></content:encoded><excerpt:encoded><![CDATA[]]></excerpt:encoded>
<wp:post_id>{n}</wp:post_id><wp:post_date><![CDATA[{day:%Y-%m-%d %H:%M:%S}]]></wp:post_date>
<wp:post_date_gmt><![CDATA[{day:%Y-%m-%d %H:%M:%S}]]></wp:post_date_gmt><wp:status>publish</wp:status>
<wp:post_type>post</wp:post_type><wp:post_password></wp:post_password>
<category domain="category" nicename="harbour"><![CDATA[Harbour]]></category>
<wp:postmeta><wp:meta_key>_thumbnail_id</wp:meta_key><wp:meta_value>{picture}</wp:meta_value></wp:postmeta>
{comments}</item>
"""
_COMMENT = """<wp:comment><wp:comment_id>{n}</wp:comment_id>
<wp:comment_author><![CDATA[A reader]]></wp:comment_author>
<wp:comment_content><![CDATA[I remember that lamp well.]]></wp:comment_content></wp:comment>
"""
_PICTURE = """<item><title>picture {n}</title><link>https://large.example/?attachment_id={n}</link>
<wp:post_id>{n}</wp:post_id><wp:status>inherit</wp:status><wp:post_type>attachment</wp:post_type>
<wp:attachment_url>https://large.example/uploads/{n}.jpg</wp:attachment_url></item>
"""


def write_export(path: Path, megabytes: int, paragraphs: int = 50) -> int:
    """The file at *path* is an export of about that size; returns how many posts are in it.

    Every post has a picture that stands behind it in the file, and a few comments.
    """
    first = datetime(2005, 1, 1, 8, tzinfo=UTC)
    posts = 0
    with path.open("w", encoding="utf-8") as file:
        file.write(_HEAD)
        while file.tell() < megabytes * 1_000_000:
            n, posts = 2 * posts + 1, posts + 1
            body = _PARAGRAPH * (paragraphs // 2 + n % paragraphs)
            comments = "".join(_COMMENT.format(n=one) for one in range(n % 7))
            day = first + timedelta(hours=posts)
            file.write(_POST.format(n=n, day=day, body=body, picture=n + 1, comments=comments))
            file.write(_PICTURE.format(n=n + 1))
        file.write("</channel></rss>\n")
    return posts


if __name__ == "__main__":
    print(write_export(Path(sys.argv[1]), int(sys.argv[2])), "posts")
