package main

import (
	"math"
	"slices"
)

// A spread describes one value of each round.
type spread struct {
	Median float64 `json:"median"`
	P10    float64 `json:"p10"`
	P90    float64 `json:"p90"`
	// Low and High enclose the median that infinitely many rounds would have, with a confidence of 95 %.
	Low  float64 `json:"median_low"`
	High float64 `json:"median_high"`
}

func spreadOf(values []float64) spread {
	sorted := slices.Sorted(slices.Values(values))
	n := float64(len(sorted))
	// The number of values below the true median is binomial, with a standard deviation of half the root of n.
	margin := 1.96 * math.Sqrt(n) / 2
	return spread{
		Median: quantile(sorted, 0.5),
		P10:    quantile(sorted, 0.1),
		P90:    quantile(sorted, 0.9),
		Low:    sorted[max(0, int(math.Floor(n/2-margin)))],
		High:   sorted[min(len(sorted)-1, int(math.Ceil(n/2+margin)))],
	}
}

// quantile returns the value below which a part q of the sorted values lies.
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i == len(sorted)-1 {
		return sorted[i]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}
