// Cuts the power at every operation of what is recorded, with every choice of what was durable by then, and
// hands out the states that this leaves, each once.
//
// Of up to kMostChosen pending changes of names every subset, beyond that every prefix and some subsets; of
// files that were not synced four fates, and torn ones are torn in more than one way. The environment
// variable VMAD_FAULTS=all says that all states are tried; else as many as fit every test run, spread over
// all of them. Which ones is always the same.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "recorded_disk.hpp"

namespace vmad::fault {

inline constexpr std::size_t kMostChosen = 7;

struct CutState {
    DiskImage image;
    std::size_t operations = 0;  ///< that were done before the cut
    std::string title;           ///< which cut it was
};

/// Of what was recorded. `seen` has the states that were handed out already, by their hash and by what was
/// promised when the power was cut, which tells states apart that are the same on the disk.
[[nodiscard]] std::vector<CutState> states_after_cuts(
    const DiskImage& start, const std::vector<Operation>& operations,
    const std::function<std::size_t(std::size_t operations)>& promised, std::set<std::size_t>& seen);

/// Some of these, as chance has it with this seed, where all would be too many; with VMAD_FAULTS more of
/// them.
[[nodiscard]] std::vector<CutState> some_states_after_cuts(const DiskImage& start,
                                                           const std::vector<Operation>& operations,
                                                           std::size_t most, std::uint64_t seed);

/// Those that are tried in this run.
[[nodiscard]] std::vector<CutState> sampled(std::vector<CutState> states, std::size_t most);

/// Counts for the summary at the end: prints a line.
void print_cuts(const std::string& title, std::size_t operations, std::size_t states, std::size_t tried);

}  // namespace vmad::fault
