"""What the brokers log, and where: their own words to broker.log, who touched the topics to access.log. Pure.

A broker runs in its folder, so access.log is there. Rolled files are `access-<n>.log`, and n only rises, so that who
follows them can tell what comes after what. A file has 16 MB (Java's property `tocsin.access.file` says otherwise); the
oldest go once all are 512 MB. Where no broker has a folder of its own to run in, the file names one, and what is kept.

* *Async, with a bounded queue*: a disk that stands still must not hold up requests. When the queue is full, what was
  allowed is dropped, with a warning in broker.log, and what was denied is waited for.
* *CR and LF are escaped, and a line is cut*: a name is whatever a client asks for, and must neither make a line of its
  own nor fill the file.
* *What was denied is told always*; what was allowed, of topics that hold alerts, copies or the record, and whatever
  changes ACLs, users, settings or the directory. Left out are the exchange's own services that work all the time, each
  from its host, of whom 1,500 lines a second would say the same, and members at their own inbox.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from xml.sax.saxutils import quoteattr

OPTIONS = ("-Dlog4j2.asyncQueueFullPolicy=Discard", "-Dlog4j2.discardThreshold=DEBUG")
"""For Java: what to do when the queue is full, which the file cannot say."""
SERVICE_HOSTS = ("127.0.0.1",)
"""From where the exchange's services come."""

_SERVICES = (
    r"(?s)Principal = User:(fanout|sealer|shipper) is Allowed operation = (READ|WRITE) from host = ({hosts}) on .*"
)
_OWN_INBOX = (
    r"(?s)Principal = User:([a-z0-9-]+)(\.[^ ]*)? is Allowed operation = READ from host = [^ ]+"
    r" on resource = Topic:LITERAL:inbox\.\1 .*"
)
_TOLD = (
    r"(?s)Principal = .{1,200}? is Allowed operation = ("
    r"(?!DESCRIBE)[A-Z_]+ from host = [^ ]+ on resource = Topic:LITERAL:(alerts|inbox|ledger|audit)\..*"
    r"|WRITE from host = [^ ]+ on resource = Topic:LITERAL:directory .*"
    r"|(ALTER|ALTER_CONFIGS|CREATE|DELETE) from host = .*)"
)

_FILE = """<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="WARN">
  <Appenders>
    <Console name="out"><PatternLayout pattern="%d %p %c{{1}}: %m%n"/></Console>
    <RollingFile name="access-file" fileName="{folder}/access.log" filePattern="{folder}/access-%i.log"
        createOnDemand="true" filePermissions="rw-------">
      <PatternLayout pattern="%d{{yyyy-MM-dd'T'HH:mm:ss.SSS'Z'}}{{UTC}} %.-3000enc{{%m}}{{CRLF}}%n"/>
      <SizeBasedTriggeringPolicy size="${{sys:tocsin.access.file:-16 MB}}"/>
      <DefaultRolloverStrategy fileIndex="nomax">
        <Delete basePath="{folder}">
          <IfFileName glob="access-*.log"><IfAccumulatedFileSize exceeds="{kept}"/></IfFileName>
        </Delete>
      </DefaultRolloverStrategy>
    </RollingFile>
    <Async name="access" bufferSize="8192"><AppenderRef ref="access-file"/></Async>
  </Appenders>
  <Loggers>
    <Logger name="kafka.authorizer.logger" level="DEBUG" additivity="false">
      <AppenderRef ref="access">
        <Filters>
          <ThresholdFilter level="INFO" onMatch="ACCEPT" onMismatch="NEUTRAL"/>
          <RegexFilter onMatch="DENY" onMismatch="NEUTRAL" regex={services}/>
          <RegexFilter onMatch="DENY" onMismatch="NEUTRAL" regex={own_inbox}/>
          <RegexFilter onMatch="ACCEPT" onMismatch="DENY" regex={told}/>
        </Filters>
      </AppenderRef>
    </Logger>
    <Root level="INFO"><AppenderRef ref="out"/></Root>
  </Loggers>
</Configuration>
"""


def log4j(service_hosts: Iterable[str] = SERVICE_HOSTS, *, folder: str = ".", kept: str = "512 MB") -> str:
    """`log4j2.xml` of brokers, whose logs are in `folder` and have the size `kept` all together.

    Of the exchange's services, only what they do from `service_hosts` is left out.
    """
    return _FILE.format(
        folder=folder,
        kept=kept,
        services=quoteattr(_SERVICES.format(hosts="|".join(map(re.escape, service_hosts)))),
        own_inbox=quoteattr(_OWN_INBOX),
        told=quoteattr(_TOLD),
    )
