package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// print writes the report for people.
func (r *report) print(output io.Writer) error {
	fmt.Fprintf(output, "%s. CPU time of the server process per connection, in microseconds, servers on core %d, client on core %d.\n",
		r.Go, r.ServerCPU, r.ClientCPU)
	fmt.Fprintf(output, "%d rounds of %d connections, %d at a time. Ratio: to crypto/tls in the same round.\n",
		r.Rounds, r.Connections, r.Concurrency)
	w := tabwriter.NewWriter(output, 0, 0, 2, ' ', 0)
	for _, c := range r.Cases {
		fmt.Fprintf(w, "\n%s%s\n", c.Case, c.target())
		if c.engines {
			c.printEngines(w)
			continue
		}
		fmt.Fprintln(w, "server\tus\tratio\tp10 to p90\tmedian, 95 %\tallocations\tbytes\tstore gets, puts\t")
		for _, s := range c.Servers {
			fmt.Fprintf(w, "%s\t%.0f\t%.3f\t%.3f to %.3f\t%.3f to %.3f\t%.0f\t%.0f\t%d, %d\t%s\n",
				s.Server, s.CPU.Median, s.Ratio.Median, s.Ratio.P10, s.Ratio.P90, s.Ratio.Low, s.Ratio.High,
				s.Allocations, s.Bytes, s.Gets, s.Puts, c.verdict(s))
		}
	}
	return w.Flush()
}

func (c caseResult) target() string {
	switch c.Limit {
	case 0:
		return ""
	case 1:
		return " (target: less than crypto/tls)"
	default:
		return fmt.Sprintf(" (target: at most %.2f of crypto/tls)", c.Limit)
	}
}

// verdict says whether a server meets the target. Those that read the store have none.
func (c caseResult) verdict(s serverResult) string {
	switch {
	case c.Limit == 0 || s.bypass || !s.hasCache():
		return ""
	case s.Ratio.Median <= c.Limit:
		return "met"
	default:
		return "missed"
	}
}

// hasCache tells whether the server's sessions lie in a cache of package reprise.
func (s serverResult) hasCache() bool {
	k, _ := kindOf(s.Server)
	return k.bind != stateless && k.bind != bareHooks
}
