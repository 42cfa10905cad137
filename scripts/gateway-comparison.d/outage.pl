# Asks a proxy at a steady rate over kept connections, kills one of its upstreams and stops another in the middle,
# and says what its clients saw: requests, failures, slow answers, and when the last of either ended.
use strict;
use warnings;
use IO::Select;
use IO::Socket::INET;
use Time::HiRes qw(time);

$SIG{PIPE} = 'IGNORE';
my ($port, $connections, $rate, $seconds, $killed, $stopped) = @ARGV;
my ($slow_s, $patience_s) = (0.25, 5);
my $ask = "GET /1k HTTP/1.1\r\nHost: shop.example\r\n\r\n";
my $every = $connections / $rate;
my $start = time;
my $event = $start + $seconds / 3;
my $done = 0;
my ($asked, $failed, $slow, $last_bad) = (0, 0, 0, 0);
my $select = IO::Select->new;
my %at;

sub open_one {
  my ($next) = @_;
  my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port, Proto => 'tcp') or return undef;
  $select->add($socket);
  $at{$socket} = { socket => $socket, next => $next, sent => 0, answer => '' };
}

sub over {
  my ($one, $ok, $keep) = @_;
  my $now = time;
  my $took = $now - $one->{sent};
  $failed++ unless $ok;
  $slow++ if $ok && $took > $slow_s;
  $last_bad = $now if !$ok || $took > $slow_s;
  ($one->{sent}, $one->{answer}) = (0, '');
  return if $keep;
  $select->remove($one->{socket});
  close $one->{socket};
  delete $at{$one->{socket}};
  open_one($one->{next});
}

open_one($start + $every * $_ / $connections) or die "no connection\n" for 1 .. $connections;
while ((my $now = time) < $start + $seconds) {
  if (!$done && $now >= $event) {
    $done = 1;
    kill 'KILL', $killed;
    kill 'STOP', $stopped;
  }
  for my $one (values %at) {
    if ($one->{sent}) {
      over($one, 0, 0) if $now - $one->{sent} > $patience_s;
    } elsif ($now >= $one->{next}) {
      # What could not be asked in time is not asked later: the rate is steady, not the count.
      $one->{next} += $every while $one->{next} <= $now;
      ($one->{sent}, $asked) = ($now, $asked + 1);
      over($one, 0, 0) unless syswrite($one->{socket}, $ask);
    }
  }
  for my $socket ($select->can_read(0.002)) {
    my $one = $at{$socket} or next;
    my $read = sysread $socket, $one->{answer}, 65536, length $one->{answer};
    if (!$read) {
      # A kept connection that ends between two requests is no failure.
      $one->{sent} ? over($one, 0, 0) : do { $one->{sent} = $now; over($one, 1, 0) };
      next;
    }
    next unless $one->{answer} =~ /\r\n\r\n/;
    my ($head, $body) = split /\r\n\r\n/, $one->{answer}, 2;
    my ($length) = $head =~ /^content-length: *(\d+)/im;
    next if length $body < ($length // 0);
    over($one, $head =~ m{^HTTP/1.1 200}, $head !~ /^connection: *close/im);
  }
}
my $recovery = $last_bad > $event ? $last_bad - $event : 0;
printf "%d %d %d %.2f\n", $asked, $failed, $slow, $recovery;
