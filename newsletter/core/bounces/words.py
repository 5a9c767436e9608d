"""What mail servers say of a mail that they refuse, phrase by phrase, as each kind of reason is told in the field.

Patterns over text in lower case without addresses and host names: a line, or a part of it between bars, is a phrase.
The order decides: what accuses the sender comes before what says that an address is unknown.
"""

import re

from newsletter.core.bounces.report import Reason

_SHORT = {
    "{who}": "(?:users?|recipients?|mail ?box|inbox|accounts?|address(?:ee)?s?|alias|customer|person|member|subscriber"
    "|name|email|id)",
    "{no}": "(?:unknown|not (?:found|known|exist\\w*|recogni[sz]ed|listed|defined|valid|available|here|have an?)"
    "|does ?n[o']t exist|no longer|invalid|unrecogni[sz]ed|unregistered|isn't known|did not match|could not be found"
    "|has expired)",
}


def compile_phrases(text: str) -> re.Pattern[str]:
    """One pattern of the phrases of a text, whatever their case; `{who}` and `{no}` are short for many words."""
    pattern = "|".join(line for line in map(str.strip, text.splitlines()) if line)
    for short, long in _SHORT.items():
        pattern = pattern.replace(short, long)
    return re.compile(pattern, re.IGNORECASE | re.DOTALL)


# In this order; the first that is found decides.
_PHRASES: tuple[tuple[Reason, str], ...] = (
    (
        Reason.UNKNOWN_HOST,
        r"""
        account or domain may not exist
        """,
    ),
    (
        Reason.UNKNOWN_USER,
        r"""
        recipient address rejected: access denied|not in my validrcptto
        """,
    ),
    (
        Reason.FILTERED,
        r"""
        recipient preferences
        """,
    ),
    (
        Reason.VIRUS,
        r"""
        virus|malware|infected|trojan
        """,
    ),
    (
        Reason.RATE,
        r"""
        too many (?:concurrent |simultaneous |open )?(?:sessions|connections|recipients|messages|mails|e-?mails|errors)
        \brate[- ]?limit|throttl|too (?:fast|quickly)|exceeded the (?:rate|maximum number)|per connection
        connection frequency|connection limit|max(?:imum)? (?:number of )?connections|4\.7\.28
        deferred due to user complaints|daily (?:message |sending )?quota|hourly
        """,
    ),
    (
        Reason.AUTHENTICATION,
        r"""
        \bdmarc\b|\bdkim\b|\bspf\b|domain ?keys|sender policy framework|unauthenticated
        authentication (?:required|fail|check|credential|information|is required)|not authenticated|must authenticate
        smtp auth|ticketed|auth(?:entication)? failed|need to authenticate|pop before smtp
        """,
    ),
    (
        Reason.SPAM,
        r"""
        \bspam(?!haus|cop| ?cop|hause)|\bspammy|unsolicited|junk ?mail|bulk (?:e-?)?mail|\bube\b|\buce\b|phish
        scored? as|message (?:was )?(?:identified|classified|considered) as|content[- ]?(?:filter|reject)
        looks like spam|advertisement
        """,
    ),
    (
        Reason.BLOCKED,
        r"""
        black ?-?list|block ?-?list|deny ?-?list|\brbls?\b|dnsbl|spamhaus|spamcop|barracudacentral|senderbase
        sender ?score|reputation|reverse (?:dns|lookup|mapping)|rdns|\bptr\b|client host|\bblocked\b(?! account)
        has been blocked|blocking|banned (?:ip|host|sending)|invalid ip
        ip (?:address )?(?:is |has been )?(?:banned|blocked|rejected|listed)|dynamic ip|generic (?:r?dns|host)
        access from ip|connections? from .{0,40}(?:refused|rejected|not accepted)|connection dropped|bad (?:helo|ehlo)
        invalid helo|helo (?:command )?rejected|unable to resolve the sending host|no access from mail server
        your (?:ip|host|server|network|mail server|access)\b.{0,60}(?:reject|refus|denied|not (?:allowed|permitted))
        """,
    ),
    (
        Reason.TOO_LARGE,
        r"""
        (?:message|mail|letter|e-mail|data|file|attachment)\b.{0,25}\b(?:too (?:large|big|long)|exceed\w*|larger)
        size limit|exceed\w*.{0,40}(?:message size|maximum size|size limit|message length)|max(?:imum)? message size
        message size exceeds|line too long
        """,
    ),
    (
        Reason.MAILBOX_FULL,
        r"""
        (?:{who}|mail ?drop|box|folder|maildir|quota|disk|storage)\b.{0,40}\b(?:full|exceed\w*|out of \w+|exhausted)
        over ?-?(?:the )?(?:disk )?(?:quota|allowed|limit)
        (?:not enough|insufficient|no) (?:disk|storage|system storage)? ?(?:space|quota)
        exceed\w* (?:\w+ ){0,4}(?:quota|storage|space|allowed size|limit)|too many messages in (?:this|the) mailbox
        out of (?:storage|disk) ?(?:space)?|mailbox size|over its (?:storage|quota)|quota violation|no room|disk full
        has too much|boite (?:du destinataire )?pleine|archiveur plein
        """,
    ),
    (
        Reason.TAKES_NO_MAIL,
        r"""
        null ?mx|couldn't find a mail exchanger|no mx found for
        do(?:es)? not accept (?:any )?(?:mail|e-?mail|messages)|no smtp service
        does not (?:receive|run) (?:mail|email)|no mail (?:service )?(?:accepted )?(?:for|here)
        mail (?:is )?not accepted (?:by|at|for)(?! polic)|no mail exchanger|not accepting (?:mail|messages) for
        smtp service not available here|host does not accept mail|domain (?:does not|doesn't) accept
        mail receiving disabled|not configured to (?:receive|accept)|no valid mail server
        """,
    ),
    (
        Reason.UNKNOWN_HOST,
        r"""
        (?:host|domain|site|mail ?server)(?: name)?\b.{0,30}\b(?:unknown|not (?:be )?(?:found|resolved|exist))
        unknown (?:mail )?(?:host|domain|site)|no such (?:host|domain|site)|nxdomain
        unrout(?:e)?able (?:mail )?(?:domain|address)|non-?existe?nt (?:host|domain)|couldn't find any host
        nodename nor servname
        name or service not known|no (?:mx|dns|a) (?:or a )?record|illegal host|(?:invalid|bad|unresolvable) domain
        domain (?:name )?(?:is )?(?:invalid|must|not|isn't)|cannot resolve|dns (?:error|failure|soft error)
        bad destination (?:mailbox address|system|host)|host or domain name not found
        all relevant mx records point to non-existent hosts|lookup of .{0,60} failed|responsible for the domain
        """,
    ),
    (
        Reason.MOVED,
        r"""
        (?:{who}|he|she|i) (?:has |have )?(?:been )?(?:moved|changed)|has moved to|change of address
        new (?:e-?mail )?address is|address (?:has )?changed|no longer (?:at|with) this|mailbox moved
        try .{0,5}new address
        """,
    ),
    (
        Reason.SUSPENDED,
        r"""
        suspend|deactivat|\binactive\b|not active
        (?:{who}|domain)\b.{0,50}\b(?:disabled|locked|frozen|closed temporarily|blocked)
        (?:disabled|locked|frozen|restricted|blocked) (?:{who}|due to)|not accepting (?:any )?(?:mail|messages|new)
        temporarily (?:disabled|closed)|over ?due|refuses to accept new messages|account (?:is )?(?:expired|closed)
        boite (?:est )?(?:inactive|desactivee)
        """,
    ),
    (
        Reason.RELAYING,
        r"""
        relay(?:ing)? (?:access )?(?:is )?(?:denied|not (?:allowed|permitted)|prohibited|blocked|refused)
        (?:unable|not (?:permitted|allowed|authori[sz]ed)|refuse\w*|cannot|won't) to relay|no relaying
        we (?:do not|don't) relay|relaying mail to|prohibited to relay|allowed ?rcpthosts|mail relay
        """,
    ),
    (
        Reason.EXPIRED,
        r"""
        retry (?:time|timeout)|timed? ?-?out|time limit|expired|been in the queue|delivery (?:time|attempts)|gave up
        giving up after|undelivered (?:for|after)|not (?:be )?delivered (?:for|within|after|in)|too long
        could not be delivered in|no longer (?:be )?tr(?:y|ied)|still (?:been )?undelivered|mail queue lifetime
        unable to (?:contact|reach)|for more than \d
        """,
    ),
    (
        Reason.POLICY,
        r"""
        polic(?:y|ies)
        sender\b.{0,50}\b(?:reject|denied|refused|unknown|invalid|verif|not (?:exist|found|allow|permit))
        (?:reject|refus|deny|denied|bad|invalid|unknown|verify)\w*\b.{0,30}\bsenders?\b
        mail from .{0,30}(?:reject|denied|refused)|envelope sender|return path
        not (?:allowed|permitted|authori[sz]ed) to (?:send|post|use|access)|access denied|permission|closed group
        moderat|only (?:members|subscribers)|administrative(?:ly)? (?:prohibition|denied|reject)|prohibited
        refused by (?:the )?recipient|you (?:are|have) (?:not|no)|security|restriction|pr[eé]venir|blocked account
        """,
    ),
    (
        Reason.UNKNOWN_USER,
        r"""
        \b{no}\b.{0,40}\b{who}\b|\b{who}\b.{0,80}\b{no}
        \bno (?:such|valid|known|matching)? ?(?:\w+ )?(?:{who}|person)\b|\bno (?:mailbox|account|user|one)
        unknown (?:\w+ )?{who}
        not (?:a |our |an? \w+ )?(?:known |valid |local |legal )?(?:user|mailbox|recipient|customer|account|address)
        doesn't have an? .{0,40}account|does not have an? .{0,40}account|don't handle mail for
        mailbox (?:unavailable|not available|does not exist|not found)|recipient (?:address )?(?:unavailable)
        invalid .{0,30}(?:userid|user id)|nobody (?:here )?by that name
        unable to (?:find|verify) (?:the )?(?:user|recipient|address)|undeliverable address
        bad (?:destination )?(?:mailbox|address|recipient)|addressee unknown|deleted|removed
        (?:user|name|recipient) .{0,60}not listed|destinataire inconnu|adresse d au moins un destinataire invalide
        usuario (?:desconocido|inexistente)|utilisateur inconnu|unbekannt
        """,
    ),
    (
        Reason.CONTENT,
        r"""
        \bmime\b|\b8-?bit\b|non-?ascii|\bheaders?\b.{0,40}\b(?:missing|invalid|malformed|duplicate|too)
        (?:missing|invalid|malformed|duplicate|multiple) .{0,20}headers?|rfc ?\d{4}|not compliant|bare lf|attachment
        content|improper|illegal|unsupported (?:command|type)
        """,
    ),
    (
        Reason.NETWORK,
        r"""
        connection (?:refused|reset|lost|closed|dropped|timed)|no route|unreachable|loop|too many hops|hop count
        host (?:is )?(?:down|not responding)|could ?n[o']t connect|cannot connect|bad connection|tls|handshake|network
        routing|mx record|mail loop|lost connection|unable to connect|forward(?:ing)? (?:path|loop)
        """,
    ),
    (
        Reason.SYSTEM,
        r"""
        local (?:error|configuration|problem|delivery failed)|system (?:error|config|not|resource|failure|incorrectly)
        service (?:unavailable|not available|currently)|internal (?:error|server)|i/?o error|input/output
        configuration error|can'?t (?:create|open|write)|cannot (?:open|create|write|append)|permission denied
        read-?only|temporary (?:failure|problem|error|local)|resources temporarily|unexpected|program
        command (?:died|failed|output)|mailer|error in processing|pipe to
        """,
    ),
)
PATTERNS = tuple((reason, compile_phrases(text)) for reason, text in _PHRASES)
"""What says so, by the reason that it is."""
WEAK = compile_phrases("recipient (?:address )?(?:rejected|refused)|{who} (?:was )?rejected")
"""Said of an unknown user, and of much else: it counts where nothing else is said."""
OF_SENDER = compile_phrases(
    r"""
    (?:after|reply to) mail from|sender verif|verification failed for
    \b(?:sender|mail from)\b.{0,60}\b(?:reject|denied|refused|unknown|invalid|not (?:exist|found))
    """
)
"""It is the sender's address that something is wrong with."""
