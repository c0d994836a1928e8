// The order in which a dump's clusters complete: part of dump.hpp, which has its options.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "support/dump.hpp"
#include "support/random.hpp"

namespace vmad::testing {

using DumpDevices = std::map<std::uint8_t, const Disk*>;  // by id

struct Place {
    std::uint8_t device;
    std::uint32_t cluster;
};

/// Good for one walk. The options and the random numbers are borrowed.
class DumpOrder {
  public:
    using Visit = std::function<void(Place)>;
    DumpOrder(const DumpDevices& devices, const DumpOptions& options, Random& random);
    /// Calls `visit` with every cluster once, in the order in which the copies complete.
    void walk(const Visit& visit);

  private:
    struct Copy {
        std::uint8_t id;
        std::string name;
        std::vector<bool> seen;  // copied, or in flight
        std::uint32_t position = 0;
    };

    /// The next cluster of the copy jobs, those that a guest write brought forward left out.
    std::optional<Place> next();
    Place complete_one();
    void inject(const Visit& visit);
    void walk_shuffled(const Visit& visit);

    const DumpOptions& options_;
    Random& random_;
    std::vector<Copy> queue_;
    std::size_t turn_ = 0;
    std::vector<Place> in_flight_;
};

}  // namespace vmad::testing
