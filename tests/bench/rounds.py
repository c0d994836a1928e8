"""Commands that take turns, so that what disturbs the machine hits all of them, and the ratios of what they cost."""
import json
import statistics

from bench_disk import progress, run


class Rounds:
    """Costs of each command, round by round."""
    def __init__(self, commands, rounds):
        """Commands: name -> one that prepares and is not measured, and the one that is."""
        self.costs = {name: [] for name in commands}
        for number in range(1, rounds + 1):
            for name, (prepare, command) in commands.items():
                run(prepare)
                self.costs[name].append(run(command))
                progress(f"round {number} of {rounds}, {name}: {self.costs[name][-1].wall:.2f} s")

    def print_costs(self):
        print(f"{'':30}{'wall s':>8}{'CPU s':>8}{'RSS MiB':>9}{'wrote MiB':>11}  wall s of each round")
        for name, costs in self.costs.items():
            wall, cpu, written = (statistics.median(getattr(cost, what) for cost in costs)
                                  for what in ("wall", "cpu", "written_mib"))
            print(f"{name:30}{wall:8.2f}{cpu:8.2f}{max(cost.rss_mib for cost in costs):9.0f}{written:11.0f}  "
                  + " ".join(f"{cost.wall:.2f}" for cost in costs))

    def print_ratio(self, name, base):
        for what in ("wall", "cpu"):
            ours, others = ([getattr(cost, what) for cost in self.costs[key]] for key in (name, base))
            ratios = sorted(a / b for a, b in zip(ours, others))
            print(f"{name} / {base}, {what}: median {statistics.median(ratios):.2f} ({ratios[0]:.2f} to "
                  f"{ratios[-1]:.2f}), of the fastest {min(ours) / min(others):.2f}")

    def write_json(self, path, title):
        """Adds the walls and peaks of memory to those that the file has."""
        if not path:
            return
        try:
            with open(path, encoding="utf-8") as file:
                results = json.load(file)
        except FileNotFoundError:
            results = {}
        results[title] = {name: {"wall_s": [cost.wall for cost in costs], "cpu_s": [cost.cpu for cost in costs],
                                 "rss_mib": max(cost.rss_mib for cost in costs)}
                          for name, costs in self.costs.items()}
        with open(path, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=1)
