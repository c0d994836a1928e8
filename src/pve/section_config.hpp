// The form of the configuration files of Proxmox VE that list things of several types (PVE::SectionConfig):
//
//     TYPE: ID
//             KEY VALUE
//             KEY
//
// with an empty line between sections, and comments in lines that begin with '#'. What a key means is for the
// caller. Pure; any thread.
//
// As in Proxmox, a line that makes no sense is a warning, and everything else goes on without it.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace vmad::pve {

struct Property {
    std::string key;
    std::string value;     ///< without white space around it; may be empty
    std::size_t line = 0;  ///< from 1
};

struct Section {
    std::string type;  ///< in lower case
    std::string id;
    std::size_t line = 0;  ///< of the header
    std::vector<Property> properties;

    /// Null when it is not set.
    [[nodiscard]] const Property* find(std::string_view key) const;
};

struct Sections {
    std::vector<Section> sections;      ///< each id once, each key of a section once
    std::vector<std::string> warnings;  ///< "PATH:LINE: what was ignored, and why", in the order of lines
};

/// What is wrong with the value of a property; empty when nothing is. The section holds those before it.
using PropertyCheck = std::function<std::string(const Section& section, const Property& property)>;

/// `path` is for warnings. Ignored are lines that are neither header, property nor comment, properties that
/// `check` refuses, all but the first of a key, and all but the last section of an id.
[[nodiscard]] Sections parse_sections(std::string_view text, const std::string& path,
                                      const PropertyCheck& check);

/// What Proxmox takes for yes and for no, in any case; nothing for any other text.
[[nodiscard]] std::optional<bool> parse_boolean(std::string_view text);

}  // namespace vmad::pve
