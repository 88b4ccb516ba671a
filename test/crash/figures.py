"""Distributions in one line."""


def quantile(sorted_values, part):
    return sorted_values[min(len(sorted_values) - 1, int(part * len(sorted_values)))]


def distribution(values, unit="ms", digits=0):
    values = sorted(values)
    if not values:
        return "none"
    parts = [("median", quantile(values, 0.5)), ("90%", quantile(values, 0.9)), ("99%", quantile(values, 0.99)),
             ("longest" if unit == "ms" else "most", values[-1])]
    return ", ".join(f"{name} {value:.{digits}f}" for name, value in parts) + f" {unit} (of {len(values)})"
