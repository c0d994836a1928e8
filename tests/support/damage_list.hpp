// How damage.cpp collects its list: an entry breaks the guest, the archive's parts, or its final bytes.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "support/archive_parts.hpp"
#include "support/damage.hpp"
#include "support/guest.hpp"

namespace vmad::testing {

/// Each function given changes its argument and returns the offset of the defect.
class DamageList {
  public:
    /// Dumps a changed guest: everything but the defect is consistent.
    void add_guest(std::string id, std::string defect, std::function<std::uint64_t(Guest&)> change);
    /// Changes parts of the archive, after which all checksums are made right.
    void add_parts(std::string id, std::string defect, std::function<std::uint64_t(ArchiveParts&)> change);
    /// Changes bytes of the finished archive.
    void add_bytes(std::string id, std::string defect, std::function<std::uint64_t(Bytes&)> change);
    /// The entry added last is not damaged but of a kind that is left untouched.
    void mark_unsupported() { list_.back().unsupported = true; }
    [[nodiscard]] std::vector<Damage> take() && { return std::move(list_); }

  private:
    std::vector<Damage> list_;
};

void add_header_damage(DamageList& list);
void add_extent_damage(DamageList& list);
void add_cluster_damage(DamageList& list);
void add_end_damage(DamageList& list);

}  // namespace vmad::testing
