// The form of the configuration files of Proxmox VE that list things of several types (PVE::SectionConfig):
//
//     TYPE: ID
//             KEY VALUE
//             KEY
//
// with an empty line between sections, and comments in lines that begin with '#'. What a key means is for the
// caller. Pure; any thread.
//
// Stricter than Proxmox, which warns about a line that makes no sense and goes on without it.
#pragma once

#include <cstddef>
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

/// `path` is for messages. Throws base::Error "PATH:LINE: what is wrong" for a line that is neither header,
/// property nor comment, and for an id or a key that comes twice.
[[nodiscard]] std::vector<Section> parse_sections(std::string_view text, const std::string& path);

/// What Proxmox takes for yes and for no, in any case; nothing for any other text.
[[nodiscard]] std::optional<bool> parse_boolean(std::string_view text);

}  // namespace vmad::pve
