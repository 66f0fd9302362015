"""Words that say nothing about what a text is about, English and Chinese; written for short spoken texts."""

from __future__ import annotations

_ENGLISH = """
a about above after again against all also am an and any are aren't as at be because been before being below
between both but by can can't cannot could couldn't did didn't do does doesn't doing don't down during each
even ever few for from further get gets got had hadn't has hasn't have haven't having he he'd he'll he's her
here here's hers herself him himself his how how's i i'd i'll i'm i've if in into is isn't it it's its itself
just let let's like ll may me might more most much must my myself no nor not of off oh ok okay on once only or
other ought our ours ourselves out over own re really s said same say says shall she she'd she'll she's should
shouldn't so some such t than that that's the their theirs them themselves then there there's these they
they'd they'll they're they've this those through to too under until up upon us ve very was wasn't we we'd
we'll we're we've well were weren't what what's when when's where where's which while who who's whom why why's
will with won't would wouldn't yeah yes you you'd you'll you're you've your yours yourself yourselves
"""
_CHINESE = """
的 了 是 在 我 你 您 他 她 它 我们 你们 他们 她们 它们 咱 咱们 自己 这 那 这个 那个 这些
那些 这样 那样 这么 那么 这里 那里 这儿 那儿 哪 哪儿 哪里 哪个 哪些 什么 怎么 怎样 怎么样
为什么 谁 几 多少 吗 呢 吧 啊 呀 哦 喔 嗯 哎 唉 嘛 啦 哈 呵 哟 就 都 也 还 又 才 再 很
太 更 最 和 与 跟 或 或者 但 但是 可是 不过 而 而且 因为 所以 如果 要是 虽然 然后 于是 把
被 给 让 对 从 到 向 往 为 以 于 之 其 及 等 着 过 地 得 上 下 里 中 个 一 一个 一下
一些 有 没 没有 不 别 会 能 可以 要 想 说 去 来 好 行 真 真的 就是 还是 只是 不是 是不是
有没有 时候 知道 觉得
"""

STOPWORDS = frozenset(word.replace("'", "") for word in _ENGLISH.split()) | frozenset(_CHINESE.split())
