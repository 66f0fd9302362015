"""How replies are judged: overlap with references, style, agreement, intervals. Pure; nothing is retrieved here."""
