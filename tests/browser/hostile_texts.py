"""Texts that might be taken for markup or code."""

#: Each would call `alert` wherever it was taken for what it looks like.
CORPUS = (
    "<script>alert('script')</script>",
    "<img src=x onerror=alert('img')>",
    "<svg onload=alert('svg')><animate onbegin=alert('animate') attributeName=x dur=1s>",
    "\"><script>alert('attribute')</script>",
    "' onfocus=alert('focus') autofocus x='",
    "javascript:alert('url')",
    "data:text/html,<script>alert('data')</script>",
    "<a href=\"javascript:alert('link')\">click</a>",
    "<iframe srcdoc=\"<script>parent.alert('frame')</script>\"></iframe>",
    "<style>*{background:url(https://evil.example/x)}</style><link rel=stylesheet href=https://evil.example/x.css>",
    "<meta http-equiv=refresh content='0;url=https://evil.example/'>",
    "{{constructor.constructor(\"alert('template')\")()}} ${alert('literal')} <%= alert('erb') %>",
    "</textarea></title></style></script><script>alert('close')</script>",
    "\u202e\u0000\u001b[31m\u2028alert('control')\u2029",
    "__proto__",
    "[x](javascript:alert('markdown')) ![x](x' onerror='alert(1))",
)
EVIL = " ".join(CORPUS)
