# Reads lines of "round name ns-per-request requests-per-second"; prints each proxy's medians, and the first one's
# ratio to each other, paired by round.
function median(list, n,   sorted, i, j, t) {
  for (i = 1; i <= n; i++) sorted[i] = list[i]
  for (i = 2; i <= n; i++) for (j = i; j > 1 && sorted[j] < sorted[j - 1]; j--) { t = sorted[j]; sorted[j] = sorted[j - 1]; sorted[j - 1] = t }
  low = sorted[1]; high = sorted[n]
  return n % 2 ? sorted[(n + 1) / 2] : (sorted[n / 2] + sorted[n / 2 + 1]) / 2
}
{ ns[$1, $2] = $3; rate[$1, $2] = $4; if ($1 > rounds) rounds = $1 }
END {
  names = split(order, name, " ")
  printf "  %-8s %12s %14s   %s\n", "", "us CPU/req", "requests/s", name[1] " / it: median (smallest to largest)"
  for (k = 1; k <= names; k++) {
    for (r = 1; r <= rounds; r++) { a[r] = ns[r, name[k]] / 1000; b[r] = rate[r, name[k]]; c[r] = ns[r, name[1]] / ns[r, name[k]] }
    cpu = median(a, rounds); speed = median(b, rounds); ratio = median(c, rounds)
    printf "  %-8s %12.2f %14.0f   ", name[k], cpu, speed
    if (k == 1) print "-"; else printf "%.3f (%.3f to %.3f)\n", ratio, low, high
  }
}
