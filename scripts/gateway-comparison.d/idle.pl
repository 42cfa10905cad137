# Opens connections to a port on loopback, makes one request on each, says "ready", and holds them until it is ended.
use strict;
use warnings;
use Socket;
my ($port, $count) = @ARGV;
my @held;
for my $n (1 .. $count) {
    socket(my $socket, PF_INET, SOCK_STREAM, 0) or die "socket $n: $!";
    # 127.0.0.0/8 is all loopback: another source address for each few thousand ports.
    bind($socket, sockaddr_in(0, inet_aton("127.0.0." . (2 + $n % 8)))) or die "bind $n: $!";
    connect($socket, sockaddr_in($port, INADDR_LOOPBACK)) or die "connect $n: $!";
    syswrite($socket, "GET /1k HTTP/1.1\r\nHost: shop.example\r\n\r\n") or die "write $n: $!";
    my $answer = "";
    while ($answer !~ /x{1024}/) {
        sysread($socket, $answer, 4096, length $answer) or die "read $n: $!";
    }
    push @held, $socket;
}
$| = 1;
print "ready\n";
sleep 3600;
