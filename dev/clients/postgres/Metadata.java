// What JDBC tools ask first: every method of DatabaseMetaData, by pgjdbc. Argument: the port.
import java.lang.reflect.Method;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.List;

public class Metadata {
  public static void main(String[] arguments) throws Exception {
    String url = "jdbc:postgresql://127.0.0.1:" + arguments[0] + "/any?user=me";
    List<String> failed = new ArrayList<>();
    try (Connection connection = DriverManager.getConnection(url)) {
      DatabaseMetaData metadata = connection.getMetaData();
      for (Method method : DatabaseMetaData.class.getMethods()) {
        Object[] values = values(method);
        try {
          Object answer = method.invoke(metadata, values);
          if (answer instanceof ResultSet rows) {
            while (rows.next()) {}
            rows.close();
          }
        } catch (java.lang.reflect.InvocationTargetException e) {
          if (!(e.getCause() instanceof java.sql.SQLFeatureNotSupportedException)) {
            failed.add(method.getName() + ": " + e.getCause().getMessage().split("\n")[0]);
          }
        }
      }
      check(failed, "columns", columns(metadata), "id int4, s text");
      check(failed, "tables", tables(metadata), "dead_letters TABLE, t TABLE");
      try (Statement statement = connection.createStatement();
          ResultSet rows = statement.executeQuery(
              "SELECT DATE '2026-03-01' AS d, TIMESTAMP '2026-03-01 12:30:00Z' AS t")) {
        rows.next();
        check(failed, "date", rows.getDate("d").toString(), "2026-03-01");
        check(failed, "instant", rows.getTimestamp("t").toInstant().toString(),
            "2026-03-01T12:30:00Z");
        check(failed, "local date", rows.getObject("d", java.time.LocalDate.class).toString(),
            "2026-03-01");
      }
    }
    failed.forEach(System.out::println);
    System.exit(failed.isEmpty() ? 0 : 1);
  }

  static void check(List<String> failed, String what, String got, String wanted) {
    if (!got.equals(wanted)) failed.add(what + ": " + got + ", wanted " + wanted);
  }

  static String columns(DatabaseMetaData metadata) throws Exception {
    List<String> found = new ArrayList<>();
    try (ResultSet rows = metadata.getColumns(null, "public", "t", null)) {
      while (rows.next() && found.size() < 2) {
        found.add(rows.getString("COLUMN_NAME") + " " + rows.getString("TYPE_NAME"));
      }
    }
    return String.join(", ", found);
  }

  static String tables(DatabaseMetaData metadata) throws Exception {
    List<String> found = new ArrayList<>();
    try (ResultSet rows = metadata.getTables(null, "public", "%", new String[] {"TABLE"})) {
      while (rows.next()) {
        found.add(rows.getString("TABLE_NAME") + " " + rows.getString("TABLE_TYPE"));
      }
    }
    return String.join(", ", found);
  }

  static Object[] values(Method method) {
    Class<?>[] types = method.getParameterTypes();
    Object[] values = new Object[types.length];
    for (int i = 0; i < types.length; i++) {
      if (types[i] == String.class) values[i] = i == 2 ? "t" : null;
      else if (types[i] == int.class) values[i] = 1;
      else if (types[i] == boolean.class) values[i] = false;
      else if (types[i] == Class.class) values[i] = Object.class;
    }
    return values;
  }
}
