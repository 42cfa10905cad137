# Reads lines of "round name CPU-ns answers p50 p99 p999 late-p50 late-p99 late-p999", in microseconds; prints the medians of
# those in `order`, and the first one's ratios to each other, paired by round: median, and its 95 % interval by ranks (the
# smallest and largest round where there are less than six). The last in `order` is the upstream without a proxy; "beyond it"
# is a ratio of what is left of both percentiles without its.
# Of n rounds, how many are left out at each end: as many as still hold the median with 95 % (the sign test's interval).
function outside(n,   k, term, below) {
  term = below = 0.5 ^ n
  for (k = 0; 2 * below <= 0.05; k++) { term *= (n - k) / (k + 1); below += term }
  return k ? k - 1 : 0
}
function median(list, n,   sorted, i, j, t) {
  for (i = 1; i <= n; i++) sorted[i] = list[i]
  for (i = 2; i <= n; i++) for (j = i; j > 1 && sorted[j] < sorted[j - 1]; j--) { t = sorted[j]; sorted[j] = sorted[j - 1]; sorted[j - 1] = t }
  i = outside(n); low = sorted[1 + i]; high = sorted[n - i]
  return n % 2 ? sorted[(n + 1) / 2] : (sorted[n / 2] + sorted[n / 2 + 1]) / 2
}
function middle(name, column,   r, list) {
  for (r = 1; r <= rounds; r++) list[r] = at[r, name, column]
  return median(list, rounds)
}
{ for (k = 3; k <= 10; k++) at[$1, $2, k] = $k; if ($1 > rounds) rounds = $1 }
END {
  names = split(order, name, " "); own = name[1]; floor = name[names]
  printf "  %-8s %9s %9s %9s %12s %12s %12s\n", "us", "p50", "p99", "p99.9", "CPU/req", "late p50", "late p99"
  for (k = 1; k <= names; k++) {
    for (r = 1; r <= rounds; r++) cpu[r] = at[r, name[k], 3] / at[r, name[k], 4] / 1000
    printf "  %-8s %9.0f %9.0f %9.0f %12.2f %12.1f %12.1f\n", name[k], middle(name[k], 5), middle(name[k], 6), middle(name[k], 7), median(cpu, rounds), middle(name[k], 8), middle(name[k], 9)
  }
  split("p50 p99 p99.9", called, " ")
  for (k = 2; k < names; k++) {
    for (p = 1; p <= 3; p++) {
      for (r = 1; r <= rounds; r++) {
        whole[r] = at[r, own, p + 4] / at[r, name[k], p + 4]
        left = at[r, name[k], p + 4] - at[r, floor, p + 4]
        beyond[r] = left > 0 ? (at[r, own, p + 4] - at[r, floor, p + 4]) / left : 0
      }
      w = median(whole, rounds); line = sprintf("%.3f (%.3f to %.3f)", w, low, high)
      w = median(beyond, rounds)
      printf "  %-26s %s   beyond the upstream %.3f (%.3f to %.3f)\n", own " / " name[k] ", " called[p], line, w, low, high
    }
  }
}
