# Plays the recording upstream and the client for one proxy: sends every case to its port, each on a connection of
# its own, followed by a request for /next, and prints what came back and what reached the upstream.
#   ask.pl CASES PROXY-PORT UPSTREAM-PORT
use strict;
use warnings;
use IO::Select;
use IO::Socket::INET;
use Time::HiRes qw(time);
my ($cases, $proxy, $upstream) = @ARGV;
my $listener = IO::Socket::INET->new(LocalAddr => "127.0.0.1:$upstream", Listen => 64, ReuseAddr => 1) or die "listen: $!";
my $NEXT = "GET /next HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

# The requests in what an upstream has read, as a reader sees them that believes the last framing field; how many
# bytes of the last one are missing does not matter.
sub requests {
    my ($bytes) = @_;
    my @seen;
    while ($bytes =~ s/^(.*?)\r?\n\r?\n//s) {
        my ($head, @what) = ($1);
        my ($line) = $head =~ /^([^\r\n]*)/;
        $line =~ s/ HTTP\/1\.1$//;
        my ($length) = $head =~ /^content-length:\s*(\S+)/im;
        my $chunked = $head =~ /^transfer-encoding:/im;
        my ($host) = $head =~ /^host:[ \t]*([^\r\n]*)/im;
        push @what, "host=$host" if defined $host && $host ne "x" && length $host;
        push @what, map { s/\s+/ /gr } $head =~ /^(A[^:\r\n]*:[^\r\n]*|x-a:[^\r\n]*|expect:[^\r\n]*)/gim;
        my $body = "";
        if ($chunked) {
            push @what, "length beside chunks" if defined $length;
            while ($bytes =~ s/^([0-9a-fA-F]+)[^\r\n]*\r?\n//) {
                my $size = hex(substr($1, -8));
                if ($size == 0) { $bytes =~ s/^(.*?)\r?\n//s until !length $bytes || $1 eq ""; last; }
                $body .= substr($bytes, 0, $size, "");
                $bytes =~ s/^\r?\n//;
            }
        } elsif (defined $length && $length =~ /^\d+$/) {
            $body = substr($bytes, 0, $length > length $bytes ? length $bytes : $length, "");
        }
        push @what, "body=$body" if length $body;
        push @seen, join(" ", $line, @what);
    }
    return @seen;
}

open my $file, "<", $cases or die "$cases: $!";
while (my $case = <$file>) {
    next if $case =~ /^#/ || $case !~ /\t/;
    chomp $case;
    my ($name, $text) = split /\t/, $case, 2;
    my %escape = (r => "\r", n => "\n", t => "\t", 0 => "\0", "\\" => "\\");
    $text =~ s/\\(?:x([0-9a-f]{2})|([rnt0\\]))/defined $1 ? chr hex $1 : $escape{$2}/ge;
    my $client = IO::Socket::INET->new(PeerAddr => "127.0.0.1:$proxy") or die "connect: $!";
    $client->blocking(0);
    syswrite $client, $text . $NEXT;
    my ($select, %read, $answer, $closed) = (IO::Select->new($listener, $client), (), "", 0);
    my %answered;
    my $quiet = time + 0.7;
    while (time < $quiet) {
        for my $ready ($select->can_read(0.05)) {
            if ($ready == $listener) {
                my $connection = $listener->accept or next;
                $connection->blocking(0);
                $read{$connection} = "";
                $answered{$connection} = 0;
                $select->add($connection);
                next;
            }
            my $got = sysread $ready, my $bytes, 65536;
            if ($ready == $client) {
                if (!$got) { $closed = 1; $select->remove($client); next; }
                $answer .= $bytes;
            } elsif (!$got) {
                $select->remove($ready);
            } else {
                $read{$ready} .= $bytes;
                my @seen = requests($read{$ready});
                while ($answered{$ready} < @seen) {
                    syswrite $ready, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                    $answered{$ready}++;
                }
            }
            $quiet = time + ($closed ? 0.15 : 0.7);
        }
        last if $closed && time > $quiet - 0.1;
    }
    my @statuses = $answer =~ /HTTP\/1\.[01] (\d{3})/g;
    my @upstream = map { requests($_) } sort { $a cmp $b } grep { length } values %read;
    @upstream = ((grep { !/^GET \/next/ } @upstream), (grep { /^GET \/next/ } @upstream));
        s/([^\x20-\x7e])/sprintf "\\x%02x", ord $1/ge for @upstream;
    printf "%s\t%s\t%s\n", $name, join(" ", @statuses) || "nothing", join(" | ", @upstream) || "nothing";
}
