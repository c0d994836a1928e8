#include "power_cuts.hpp"

#include <cstdlib>
#include <utility>

#include <fmt/format.h>

#include "support/random.hpp"

namespace vmad::fault {
namespace {

/// Of what is too much for all subsets.
constexpr unsigned kSampledSubsets = 32;
constexpr unsigned kTornWays = 2;
constexpr std::uint64_t kSeed = 1;

std::vector<std::uint64_t> subsets_of(std::size_t pending, testing::Random& random) {
    std::vector<std::uint64_t> subsets;
    if (pending <= kMostChosen) {
        for (std::uint64_t kept = 0; kept < std::uint64_t{1} << pending; ++kept) subsets.push_back(kept);
        return subsets;
    }
    for (std::size_t first = 0; first <= pending; ++first)
        subsets.push_back(first >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << first) - 1);
    for (unsigned i = 0; i < kSampledSubsets; ++i) subsets.push_back(random.next());
    return subsets;
}

bool tries_all() {
    const char* wish = std::getenv("VMAD_FAULTS");
    return wish != nullptr && std::string(wish) == "all";
}

const char* name_of(UnsyncedData data) {
    constexpr const char* kNames[] = {"lost", "zeroed", "kept", "torn"};
    return kNames[static_cast<std::size_t>(data)];
}

std::string title_of(const std::vector<Operation>& operations, std::size_t done, std::uint64_t kept,
                     UnsyncedData data) {
    return fmt::format("cut after {} operations (the last: {}), names kept {:#x}, data {}", done,
                       done > 0 ? operations[done - 1].title : "none", kept, name_of(data));
}

}  // namespace

std::vector<CutState> states_after_cuts(const DiskImage& start, const std::vector<Operation>& operations,
                                        const std::function<std::size_t(std::size_t)>& promised,
                                        std::set<std::size_t>& seen) {
    std::vector<CutState> states;
    testing::Random random(kSeed);
    ChangingDisk disk(start);
    for (std::size_t done = 0; done <= operations.size(); ++done) {
        if (done > 0) disk.apply(operations[done - 1]);
        const auto try_state = [&](std::uint64_t kept, UnsyncedData data, std::uint64_t seed) {
            auto image = disk.after_cut(kept, data, seed);
            if (!seen.insert(image.hash() * 31 + promised(done)).second) return;
            states.push_back({std::move(image), done, title_of(operations, done, kept, data)});
        };
        for (const auto kept : subsets_of(disk.pending(), random)) {
            try_state(kept, UnsyncedData::kept, 0);
            if (!disk.has_unsynced_data()) continue;
            for (const auto data : {UnsyncedData::lost, UnsyncedData::zeroed}) try_state(kept, data, 0);
            for (unsigned way = 0; way < kTornWays; ++way)
                try_state(kept, UnsyncedData::torn, kSeed + done * kTornWays + way);
        }
    }
    return states;
}

std::vector<CutState> some_states_after_cuts(const DiskImage& start, const std::vector<Operation>& operations,
                                             std::size_t most, std::uint64_t seed) {
    constexpr std::size_t kMoreWhenAll = 20;
    if (tries_all()) most *= kMoreWhenAll;
    testing::Random random(seed);
    std::vector<CutState> states;
    for (std::size_t i = 0; i < most; ++i) {
        ChangingDisk disk(start);
        const auto done = random.below(operations.size() + 1);
        for (std::size_t j = 0; j < done; ++j) disk.apply(operations[j]);
        const auto kept = random.next();
        const auto data = static_cast<UnsyncedData>(random.below(4));
        states.push_back(
            {disk.after_cut(kept, data, random.next()), done, title_of(operations, done, kept, data)});
    }
    return states;
}

std::vector<CutState> sampled(std::vector<CutState> states, std::size_t most) {
    if (tries_all() || states.size() <= most) return states;
    std::vector<CutState> chosen;
    for (std::size_t i = 0; i < most; ++i) chosen.push_back(std::move(states[i * states.size() / most]));
    return chosen;
}

void print_cuts(const std::string& title, std::size_t operations, std::size_t states, std::size_t tried) {
    fmt::print("power cuts: {}: {} operations, {} states, {} tried\n", title, operations, states, tried);
}

}  // namespace vmad::fault
